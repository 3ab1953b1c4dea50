"""Errors that the user can correct."""


class UserError(Exception):
    """Error that the user can correct; a command prints it without a traceback.

    The message names the file, the key or the option, and the remedy.
    """
