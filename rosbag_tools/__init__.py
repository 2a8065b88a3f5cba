"""Read robot recordings (rosbags), cut episodes and convert them to LeRobot v3 datasets."""

__version__ = "0.1.0"
