"""Who the workload is: account files, the decision table, the entries. Empty: imported by launch."""
