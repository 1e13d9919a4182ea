"""What a search looks like: the data of each figure, and how reports and papers show it.

``study`` reads a workflow once; every module beside it makes one figure's data of that, with numpy and without a plot;
``html`` draws them with plotly, ``paper`` with matplotlib.
"""
