"""What `ctl` may set while the servers run: numbers within bounds, and words."""


def checked(values, allowed):
    """*values* as they are kept. allowed: {name: (lowest, highest) of a number, or a list of words}. Raises ValueError."""
    kept = {}
    for name, value in values.items():
        if name not in allowed:
            raise ValueError(f"{name}: not one of {', '.join(allowed)}")
        if isinstance(allowed[name], list):
            if value not in allowed[name]:
                raise ValueError(f"{name}={value}: one of {', '.join(allowed[name])}")
            kept[name] = value
        else:
            lowest, highest = allowed[name]
            kept[name] = float(value)
            if not lowest <= kept[name] <= highest:
                raise ValueError(f"{name}={value}: from {lowest} to {highest}")
    return kept
