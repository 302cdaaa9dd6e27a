"""Signal processing on the device, inside the jitted step: front ends and augmentations."""
