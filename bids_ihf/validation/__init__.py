"""Agreement between scanners, before and after harmonization, on people scanned on several."""
