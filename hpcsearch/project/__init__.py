"""Projects: packages of search problems, and the sample problem that a new one starts from."""

from hpcsearch.project.creating import new_problem, start_project
from hpcsearch.project.lookup import Found, find_problem
from hpcsearch.project.project import Project, find_project

__all__ = ["Found", "Project", "find_problem", "find_project", "new_problem", "start_project"]
