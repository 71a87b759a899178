"""Loads a role's module by its path: roles are no packages, and a module finds its neighbour only under Ansible's name for it."""
import importlib.util
import sys


def load(path, name):
    """Run the Python file *path* as the module *name* and return it; it stays known under that name."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
