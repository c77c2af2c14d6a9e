"""False alarms and delays of the gates beside naive rules, on simulated traffic with published seeds."""
