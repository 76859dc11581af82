from ._jacobian import carry_back, compose, Drive, Jacobians, Matrix, matrix_of, OfTail, reachable, Rows, When, Window
from ._layout import make_filtered_layouts, make_trace_layouts, TraceLayout
from ._linearise import linearise, taps_of
