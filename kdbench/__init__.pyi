from .core.errors import UserError as UserError
from .core.options import Options as Options
from .core.options import option as option
from .core.spec import DataLocation as DataLocation
from .core.spec import RunSpec as RunSpec
from .data.task import Examples as Examples
from .data.task import Task as Task
from .data.task import TaskData as TaskData
from .distill.method import Distillation as Distillation
from .distill.method import Method as Method
from .distill.method import NoOptions as NoOptions
from .distill.method import Online as Online
from .distill.method import OnlineOptions as OnlineOptions
from .reporting.python_interface import load_results as load_results
from .reporting.python_interface import make_figure as make_figure
from .reporting.python_interface import make_table as make_table
from .reporting.python_interface import make_tables as make_tables
from .reporting.python_interface import run_study as run_study
from .reporting.tables import TableData as TableData

__version__: str
