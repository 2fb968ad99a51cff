"""The tools that gpt-oss may call: functions of ours, Python in a sandbox, a folder of documents."""
