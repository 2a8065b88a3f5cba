#!/usr/bin/env bash
# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
# data.sh FOLDER: record the demonstrations of the transfer experiment (docs/results.md) into FOLDER/data, and put its
# files there. A call that was interrupted goes on. Needs the extras suites and efficientnet; 20 minutes of one core.
set -euo pipefail
mkdir -p "$1/data"
cp "$(dirname "$0")"/*.yaml "$1"
cd "$1"
record() { # ENVIRONMENT DEMONSTRATIONS
    local set=data/${1//\//_}
    [ -d "$set" ] || hpt collect "$1" --dataset "$set" -n "$2" --workers 1
}
for task in button-press drawer-open hand-insert assembly door-lock coffee-push faucet-open reach push pick-place push-back; do
    record "metaworld/$task" 25
done
for environment in so101/pick-place aloha/transfer-cube feed_dog_ur5e; do
    record "$environment" 25
done
record fetch/reach 60 # from here on: held out
record fetch/push 100
record fetch/pick-place 100
for task in door-open window-open lever-pull button-press-topdown; do
    record "metaworld/$task" 60
done
