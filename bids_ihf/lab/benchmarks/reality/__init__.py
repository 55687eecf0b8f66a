"""Real and simulated scans, measured alike: does the simulator cover what scanners do?"""
