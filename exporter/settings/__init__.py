"""The settings: read from the environment and a file, checked as a whole, handed on as values.

`loading.load` makes the one `model.Settings`; `values` and `endpoints` turn a setting's text into
its type where pydantic has none. Nothing in here starts or opens anything but the settings file,
and no error, repr or text of it shows a secret.
"""
