"""The settings: read from the environment and a file, checked as a whole, handed on as values.

`loading.load` makes the one `model.Settings`; `values` turns each setting's text into its type;
`reference` lists them all for the help, the example file and the documentation. Nothing in here
starts or opens anything, and no error, repr or text of it shows a secret.
"""
