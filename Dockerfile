# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
# hpt_ros in a ROS distribution. Build arguments choose it, and the build of PyTorch:
#   docker build -t hpt_ros .                                     Jazzy, CPU
#   docker build -t hpt_ros --build-arg ROS_DISTRO=kilted --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .
#   docker run --rm -it --network host --gpus all hpt_ros hpt run CHECKPOINT --device cuda
# amd64 and arm64, as the image `ros` is. What it does is what README.md says of a workspace.
ARG ROS_DISTRO=jazzy

# The distribution with what pip and rosdep add to it; the source tree is not in it (development containers mount theirs).
FROM ros:${ROS_DISTRO}-ros-base AS dependencies
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# Ubuntu's Python refuses pip without it (PEP 668); the container is there for this one application.
ENV DEBIAN_FRONTEND=noninteractive PIP_BREAK_SYSTEM_PACKAGES=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /ws
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
      g++ cmake git make python3-dev python3-pip python3-venv libegl1 libgl1-mesa-dri libopengl0 \
    && rm -rf /var/lib/apt/lists/*
COPY constraints-distribution.txt requirements-distribution.txt /tmp/pip/
RUN python3 -m pip install --extra-index-url "${TORCH_INDEX}" -r /tmp/pip/requirements-distribution.txt
COPY package.xml src/hpt_ros/
COPY hpt_msgs/package.xml src/hpt_ros/hpt_msgs/
# The keys skipped are those that pip has installed above.
RUN apt-get update \
    && rosdep update --rosdistro "${ROS_DISTRO}" \
    && rosdep install --from-paths src src/hpt_ros/hpt_msgs --ignore-src -y --rosdistro "${ROS_DISTRO}" \
      --skip-keys "python3-torch python3-mujoco-pip python3-rosbags-pip python3-huggingface-hub-pip" \
    && rm -rf /var/lib/apt/lists/*

FROM dependencies AS workspace
COPY . src/hpt_ros/
RUN . "/opt/ros/${ROS_DISTRO}/setup.bash" \
    && colcon build --base-paths src src/hpt_ros/hpt_msgs

FROM workspace AS test
RUN . install/setup.bash \
    && colcon test --base-paths src src/hpt_ros/hpt_msgs --pytest-args -m "not slow" \
      --event-handlers console_cohesion+ \
    && colcon test-result --verbose

FROM workspace AS runtime
# Jazzy reads the second name, later distributions the first.
ENV FASTDDS_DEFAULT_PROFILES_FILE=/ws/src/hpt_ros/config/dds/fastdds.xml \
    FASTRTPS_DEFAULT_PROFILES_FILE=/ws/src/hpt_ros/config/dds/fastdds.xml
RUN printf '#!/bin/bash\nset -e\nsource /ws/install/setup.bash\nexec "$@"\n' > /entrypoint.sh && chmod +x /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["hpt", "--help"]
