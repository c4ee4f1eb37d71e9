"""fcemu: Alibaba Cloud Function Compute's HTTP trigger, with WebSocket passthrough, on your own machine."""

__version__ = "0.1.0"
