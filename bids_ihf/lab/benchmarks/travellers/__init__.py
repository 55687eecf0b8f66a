"""The benchmark on real people scanned on several scanners, leaving one person out."""
