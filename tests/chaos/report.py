"""What the storm did, and what was found."""

from tests.chaos.disturber import Disturber
from tests.chaos.findings import Findings, say
from tests.chaos.plan import Plan
from tests.chaos.stage import Connection

_BY_PATTERN = """
    SELECT split_part(s.tx, ' ', 1) AS pattern,
           count(DISTINCT s.tx) AS transactions,
           count(DISTINCT s.tx) FILTER (WHERE k.tx IS NOT NULL) AS kept,
           count(DISTINCT s.tx) FILTER (WHERE u.tx IS NOT NULL) AS undone,
           count(DISTINCT s.tx) FILTER (WHERE k.tx IS NULL AND u.tx IS NULL) AS in_doubt,
           count(*) AS events
      FROM chaos.sent s
      LEFT JOIN (SELECT DISTINCT tx FROM chaos.kept) k ON k.tx = s.tx
      LEFT JOIN (SELECT DISTINCT tx FROM chaos.undone) u ON u.tx = s.tx
     GROUP BY 1 ORDER BY 1
"""


def report(
    connection: Connection, plan: Plan, disturber: Disturber, findings: Findings, seconds: float
) -> None:
    say(f"\nSeed {plan.seed}, {seconds:.0f} s. {plan}")
    say("\nWho appended            transactions   kept  undone  in doubt    events sent")
    for pattern, transactions, kept, undone, in_doubt, events in connection.execute(_BY_PATTERN):
        say(f"  {pattern:<24}{transactions:>10,}{kept:>7,}{undone:>8,}{in_doubt:>10,}{events:>15,}")
    say("\nWhat went on beside that")
    done = connection.execute("SELECT role, what, count(*) FROM chaos.done GROUP BY 1, 2 ORDER BY 1, 2")
    for role, what, count in done:
        say(f"  {role + ': ' + what:<50}{count:>8,}")
    say("\nWhat was done to them")
    for what, count in sorted(disturber.done.items()):
        say(f"  {what:<60}{count:>8,}")
    say(f"  longest recovery: {max(disturber.recoveries, default=0):.1f} s")
    say("\nWhat was compared")
    for what, count in findings.checked.items():
        say(f"  {what:<60}{count:>12,}")
    say(f"\n{findings}" if findings else "\nNothing is wrong.")
