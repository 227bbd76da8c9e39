"""Cases of the meaning of points on a real broker, with real worker processes.

A case is a test in a module here. It asks the fixture `deploy` for a deployment of its own (topics,
programme, workers), gives events, waits until they are taken, and reads what was committed::

    @pytest.mark.case(1)
    def test_...(deploy: Deploy) -> None:
        club = deploy({"rule_sets": [...], "park_window": "PT3S"}, workers=2, partitions=4)
        club.order("o1", 100)                      # one m1's order of 100.00, paid now
        club.give("points.transfer", "m1", to_member_id="m2", points=30, actor=by_member("m1"))
        club.settle()                              # all of it taken, messages between owners too
        club.workers[0].kill()                     # kill -9; `start()` brings it back
        assert club.moves("m1") == [...]

A case takes 15 seconds at the most: spans of seconds in the programme (`park_window`, activation),
or commands that say when (`expires_at`). What every case must leave behind (no worker that ended on
a fault, books that reconcile) is looked at when it is over: a test need not ask for it.
"""
