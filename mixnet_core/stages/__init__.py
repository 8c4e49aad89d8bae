"""The seven stages, a file each, and what they decide with beside them.

    check, then  prepare -> fetch -> train -> select -> validate -> accept -> publish

Each is a plain function from a `context.Context` and small values to a small value; `table` has all
of them in order. A stage that finished before with equal inputs, and whose files are still there,
returns what it returned then, marked as reused.

    context, options       what a run is given, and the settings that people change
    made_from, on_record   what a result is made from; what a run has for the next stage
    policies, acceptance   which checkpoint is selected, what is demanded of it
    evidence               a run's report and predictions
    release_to_measure     a published release, to be measured beside a candidate
"""
