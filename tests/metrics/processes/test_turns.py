"""One process at a time does the job, and the next one reads its notes."""

from pathlib import Path

from tests.metrics.processes.test_membership import run

TURNS = """
    from safelight.metrics.processes.turns import Turns
"""


def test_a_process_without_a_group_keeps_its_notes(tmp_path: Path) -> None:
    program = f"""{TURNS}
    turns = Turns(serving().membership, "job")
    for number in b"ab":
        with turns.take() as turn:
            print(turn.notes.decode())
            turn.notes += bytes([number])
    """
    assert run(program, tmp_path) == ["", "a"]


def test_a_forked_process_has_no_notes_and_no_lock_of_its_parent(tmp_path: Path) -> None:
    program = f"""{TURNS}
    turns = Turns(serving().membership, "job")
    def notes():
        with turns.take() as turn:
            return turn.notes
    with turns.take() as turn:
        turn.notes = b"of the parent"
        print(forked(notes))
    """
    assert run(program, tmp_path) == ["b''"]


WORKERS = f"""{TURNS}
    def work(path, orders, answers):
        meter = serving()
        turns = Turns(meter.membership, "job")
        for order in iter(orders.get, "end"):
            if order == "leave":
                meter.membership.leave()
            with turns.take(0.1) as turn:
                answers.put(None if turn is None else turn.notes.decode())
                if turn is not None:
                    turn.notes += path.encode()
                if order == "hold":
                    orders.get()

    if __name__ == "__main__":
        context = get_context("spawn")
        workers = []
        for name in "ab":
            orders, answers = context.Queue(), context.Queue()
            process = context.Process(target=work, args=(name, orders, answers))
            process.start()
            workers.append((process, orders, answers))

        def ask(place, order="take"):
            process, orders, answers = workers[place]
            orders.put(order)
            print(answers.get(timeout=30))
"""
END = """
        for process, orders, _ in workers:
            orders.put("end")
            process.join()
"""


def test_workers_read_the_notes_of_each_other(tmp_path: Path) -> None:
    steps = """
        for place in (0, 1, 1, 0):
            ask(place)
    """
    assert run(WORKERS + steps + END, tmp_path) == ["", "a", "ab", "abb"]


def test_a_worker_gets_no_turn_while_another_has_it_or_after_it_has_left(tmp_path: Path) -> None:
    steps = """
        ask(0, "hold")
        ask(1)
        workers[0][1].put("go on")
        ask(0, "leave")
        ask(1)
    """
    assert run(WORKERS + steps + END, tmp_path) == ["", "None", "None", "a"]


def test_the_turn_of_a_killed_worker_is_free(tmp_path: Path) -> None:
    steps = """
        ask(0)
        ask(0, "hold")
        workers[0][0].kill()
        workers.pop(0)[0].join()
        ask(0)
    """
    assert run(WORKERS + steps + END, tmp_path) == ["", "a", "a"]
