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

__version__: str
