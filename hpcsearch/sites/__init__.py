"""Sites: what hpcsearch knows of a machine, where it is written, and the job script that follows from it."""

from hpcsearch.sites.model import Detect, Fact, Launcher, NodeShape, Queue, Site, Tier

__all__ = ["Detect", "Fact", "Launcher", "NodeShape", "Queue", "Site", "Tier"]
