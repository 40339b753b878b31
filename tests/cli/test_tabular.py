"""`tabular`: its output and what it refuses."""

import pytest


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["tabular", "latency", "five_layer-torch-b1", "--device", "tpu", "--out", "OUT/t.json"], "cpu or cuda"),
        (
            ["tabular", "latency", "five_layer-torch-b1", "--seconds", "nan", "--out", "OUT/t.json"],
            "finite number above 0",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(refused, arguments, says):
    assert says in refused(*arguments)


@pytest.mark.parametrize(
    ("function", "command", "says"),
    [
        ("tabular.build", "tabular build --out OUT", "the same command resumes from what is finished in OUT"),
        ("tabular.build", "tabular build --sample 3", "the same command starts over"),
        ("tabular.latency", "tabular latency TABLE --out OUT", "the same command starts over"),
    ],
)
def test_an_interrupt_says_what_the_same_command_does(interrupted, function, command, says):
    assert interrupted(function, command) == says
