"""What flows and its rules: messages, the bus, time, accounting, the front end, detection."""
