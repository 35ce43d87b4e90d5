"""What a segment's table remembers of its sums is what they are, whatever was appended and dropped."""

import random

from gateway.spool.format import Record
from gateway.spool.segment import Table


def test_sums_are_right_after_any_order_of_appends_and_drops() -> None:
    chance = random.Random(11)
    for _ in range(200):
        table, records, last = Table(), [], 0
        for _ in range(30):
            match chance.randrange(4):
                case 0 | 1:
                    last += chance.randrange(1, 3)
                    records.append(Record(last, 1, chance.randrange(1, 100), 0, 0, 0))
                    table.append(records[-1])
                case 2:
                    first, end = sorted((chance.randrange(last + 2), chance.randrange(last + 2)))
                    table.drop(first, end)
                    records = [one for one in records if not first <= one.sequence <= end]
                case 3 if chance.random() < 0.3:
                    first = chance.randrange(last + 2)
                    table.drop_from(first)
                    records = [one for one in records if one.sequence < first]
                    last = max((one.sequence for one in records), default=0)
            beyond = chance.randrange(-1, last + 2)
            found = [one.readings for one in records if one.sequence > beyond]
            assert table.after(beyond) == (len(found), sum(found))
