"""The commands, a module each: arguments and words here, the work in ``service``, imported when it is asked for."""
