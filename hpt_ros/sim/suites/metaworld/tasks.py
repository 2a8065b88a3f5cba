# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Meta-World's tasks by its own names without the version, and what each asks for in a sentence of ours."""

from __future__ import annotations

from typing import Final

INSTRUCTIONS: Final[dict[str, str]] = {
    "assembly": "pick up the nut and put it onto the peg",
    "basketball": "dunk the ball into the basket",
    "bin-picking": "move the block from the red bin to the blue bin",
    "box-close": "pick up the lid and close the box with it",
    "button-press": "press the button on the front of the box",
    "button-press-topdown": "press the button on top of the box",
    "button-press-topdown-wall": "reach over the wall and press the button on top of the box",
    "button-press-wall": "reach over the wall and press the button on the front of the box",
    "coffee-button": "press the button of the coffee machine",
    "coffee-pull": "pull the mug away from the coffee machine",
    "coffee-push": "push the mug under the coffee machine",
    "dial-turn": "turn the dial by half a turn",
    "disassemble": "take the nut off the peg",
    "door-close": "close the door",
    "door-lock": "turn the lock of the door to lock it",
    "door-open": "open the door by its handle",
    "door-unlock": "turn the lock of the door to unlock it",
    "drawer-close": "push the drawer shut",
    "drawer-open": "pull the drawer open",
    "faucet-close": "turn the faucet to close it",
    "faucet-open": "turn the faucet to open it",
    "hammer": "drive the screw into the wall with the hammer",
    "hand-insert": "put the gripper into the hole",
    "handle-press": "press the handle down",
    "handle-press-side": "press the handle down from the side",
    "handle-pull": "pull the handle up",
    "handle-pull-side": "pull the handle up from the side",
    "lever-pull": "pull the lever up",
    "peg-insert-side": "insert the peg into the hole in the side of the box",
    "peg-unplug-side": "unplug the peg from the box",
    "pick-out-of-hole": "pick the puck out of the hole",
    "pick-place": "pick up the puck and bring it to the goal",
    "pick-place-wall": "pick up the puck and bring it over the wall to the goal",
    "plate-slide": "slide the plate into the goal",
    "plate-slide-back": "slide the plate back out of the goal",
    "plate-slide-back-side": "slide the plate sideways out of the goal",
    "plate-slide-side": "slide the plate sideways into the goal",
    "push": "push the puck to the goal",
    "push-back": "pull the block back to the goal",
    "push-wall": "push the puck around the wall to the goal",
    "reach": "reach the goal with the gripper",
    "reach-wall": "reach the goal behind the wall with the gripper",
    "shelf-place": "pick up the block and put it onto the shelf",
    "soccer": "push the ball into the goal",
    "stick-pull": "pull the thermos with the stick",
    "stick-push": "push the thermos with the stick",
    "sweep": "sweep the block off the table",
    "sweep-into": "sweep the block into the hole",
    "window-close": "push the window shut",
    "window-open": "push the window open",
}

# The lists of HPT's experiments on Meta-World (its configuration files; Wang et al., arXiv 2409.20537).
HPT4: Final = ("reach", "push", "button-press-topdown", "door-open")
HPT20: Final = (
    "assembly", "basketball", "bin-picking", "box-close", "button-press-topdown", "button-press-topdown-wall",
    "button-press", "button-press-wall", "coffee-button", "coffee-pull", "coffee-push", "dial-turn", "disassemble",
    "door-close", "door-lock", "door-open", "door-unlock", "drawer-close", "drawer-open", "faucet-open", "hand-insert",
)  # fmt: skip
