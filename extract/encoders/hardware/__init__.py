"""What depends on the processor: device, exactness, faster products on a CPU."""
