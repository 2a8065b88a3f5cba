"""The simulated robot: a MuJoCo scene made of primitive shapes, its task, and a scripted teleoperator."""
