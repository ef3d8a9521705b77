"""What the scenarios stand on: processes, the recorder in front of the model, waiting, sending."""
