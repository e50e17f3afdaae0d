"""Rows J, L and N of the attack list, from the same containers as the rows of test_network_rows."""


def test_j1_a_script_is_its_interpreter_and_nothing_else(attacked):
    """What it is called does not count. That it may do what the interpreter may is said at load."""
    row = dict(attacked["j1_scripts_of_an_interpreter"])

    assert (row.pop("paired script"), row.pop("paired")) == ("200", "404")
    assert set(row.values()) == {"403"}, row
    # Who reads the policy tells it: in a sidecar pod that is not the workload's supervisor.
    reports = [
        event.get("report", event) for event in attacked.events if "started" in event["event"]
    ]
    told = [one for report in reports for one in report.get("warnings", ())]
    warnings = [one for one in told if "policy.interpreter" in one]
    assert len(warnings) == 1
    assert "/usr/bin/python3.11" in warnings[0]


def test_j2_variables_that_load_code_do_not_arrive_and_give_no_other_identity(attacked):
    row = attacked["j2_variables_that_load_code"]

    assert row == {"arrived": [], "paired variable": "C.UTF-8", "found": "403", "paired": "404"}


def test_j3_only_the_file_itself_is_the_program(attacked):
    row = attacked["j3_the_allowed_program_by_other_ways"]

    assert row["paired"] == row["/proc/self/root"] == "404"  # the site's own answer
    assert {row["loader"], row["copy"], row["same name"]} == {"403"}
    assert row["argv[0]"] == "policy.binary-not-allowed"
    assert row["link"] in {"EPERM", "EXDEV", "EACCES"}


def test_j5_the_memory_of_an_allowed_program_is_not_written(attacked):
    row = attacked["j5_the_memory_of_an_allowed_program"]

    assert row["found"] in {"EACCES", "EPERM"}
    assert row["paired"]


def test_j6_an_allowed_program_does_not_vouch_for_who_shares_its_socket(attacked):
    """The paired one: both are allowed, curl through its ancestor."""
    row = attacked["j6_a_socket_that_two_programs_hold"]

    assert row == {"found": "policy.binary-not-allowed", "paired": "HTTP/1.1 200 OK"}


def test_j6_an_allowed_program_that_takes_a_number_does_not_vouch_for_who_was_given_it(attacked):
    row = attacked["j6_an_allowed_program_at_the_port_that_tracking_gave"]

    assert row == {"renumbered": True, "found": "policy.binary-not-allowed", "paired": "404"}


def test_j7_nobody_hides_behind_a_thread(attacked):
    assert attacked["j7_a_holder_whose_first_thread_has_ended"]["found"].split()[1] == "403"
    own_table = attacked["j7_a_thread_with_a_file_table_of_its_own"]
    assert own_table == {"unshare": "EPERM", "close_range": "EINVAL"}


def test_j7_a_search_over_its_budget_is_a_denial_and_the_next_one_works(attacked):
    row = attacked["j7_very_many_descriptors"]

    assert row["during"] in {"policy.caller-over-budget", "echoed"}
    assert row["paired"] == "echoed"


def test_l14_proxy_variables_change_nothing(attacked):
    assert attacked["l14_proxy_variables"] == {"found": "403", "paired": "404"}


def test_n1_a_fork_bomb_meets_the_limit_and_egress_answers(attacked):
    row = attacked["n1_a_fork_bomb"]

    assert row["stopped by"] == "EAGAIN"
    assert row["during"] in {"policy.caller-over-budget", "echoed"}
    assert row["paired"] == "echoed"


def test_n3_idle_tunnels_and_a_slow_reader_cost_others_nothing(attacked):
    row = attacked["n3_idle_tunnels_and_a_slow_reader"]

    assert row["newcomer"] == "echoed"
    assert row["old"] == "still"
    assert row["swallowed"] > 1 << 16  # the slow one was served, too, until buffers were full


def test_n6_hashing_a_large_program_stalls_no_tunnel(attacked):
    """A gigabyte takes a second or more; a tunnel's answer must not wait for it."""
    row = attacked["n6_hashing_does_not_stop_the_others"]

    assert row["count"] > 100
    assert row["slowest"] < 1.0
