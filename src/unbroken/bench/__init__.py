"""Which provider is better: the same prompts to all of them in turns, and what the numbers show.

prompts       what is asked
contestants   who is asked, and exactly how
course        the run: order, rate, spend limit
samples       what is measured of a request
intervals     how sure a number is
summary       the numbers of each, and of each pair
verdict       the same in sentences
files         CSV and JSON
pictures      SVG and PNG
page          all of it as one HTML page
"""

from unbroken.bench.contestants import Contestant, ContestantError, contestants
from unbroken.bench.course import Course, Settings
from unbroken.bench.prompts import Prompt, PromptError, built_in, read_prompts
from unbroken.bench.summary import Result, result_of
from unbroken.bench.verdict import verdict

__all__ = [
    "Contestant",
    "ContestantError",
    "Course",
    "Prompt",
    "PromptError",
    "Result",
    "Settings",
    "built_in",
    "contestants",
    "read_prompts",
    "result_of",
    "verdict",
]
