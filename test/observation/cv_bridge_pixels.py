# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Writes cv_bridge_pixels.npz: random pictures of every encoding that cv_bridge knows, and what it makes of them.

Run with the Python of a machine that has cv_bridge (ROS distribution or Debian's python3-cv-bridge). The file in the
repository is from cv_bridge 1.16.2 with OpenCV 4.6.0 (Debian 12). `test_images.py` compares it with our decoder, so
that the pixels are checked on machines without cv_bridge too.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

HEIGHT, WIDTH = 8, 12
PIXELS = Path(__file__).with_name("cv_bridge_pixels.npz")
# Encodings of sensor_msgs/image_encodings.hpp and bytes of a pixel; cv_bridge 1.16.2 knows no other kind of yuv.
BYTES = {
    **dict.fromkeys(["mono8", "bayer_rggb8", "bayer_bggr8", "bayer_gbrg8", "bayer_grbg8"], 1),
    **dict.fromkeys(
        ["mono16", "16UC1", "bayer_rggb16", "bayer_bggr16", "bayer_gbrg16", "bayer_grbg16", "yuv422"], 2
    ),
    **dict.fromkeys(["rgb8", "bgr8"], 3),
    **dict.fromkeys(["rgba8", "bgra8"], 4),
    **dict.fromkeys(["rgb16", "bgr16"], 6),
    **dict.fromkeys(["rgba16", "bgra16"], 8),
}


def main() -> None:
    """Write the file."""
    from cv_bridge import CvBridge
    from sensor_msgs.msg import Image

    random = np.random.default_rng(1)
    arrays = {}
    for encoding, size in BYTES.items():
        for big_endian in (0, 1)[: 2 if "16" in encoding else 1]:
            content = random.integers(0, 256, HEIGHT * WIDTH * size, dtype=np.uint8)
            message = Image()
            message.height, message.width, message.step = HEIGHT, WIDTH, WIDTH * size
            message.encoding, message.is_bigendian, message.data = encoding, big_endian, content.tobytes()
            wanted = "passthrough" if encoding == "16UC1" else "rgb8"
            name = f"{encoding}.{big_endian}"
            arrays[f"{name}.in"] = content
            arrays[f"{name}.out"] = CvBridge().imgmsg_to_cv2(message, wanted)
    np.savez_compressed(PIXELS, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
