"""Brain mask and tissues, registration to the template, bias field (ANTs)."""
