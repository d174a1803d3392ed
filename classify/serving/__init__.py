"""New clips in, answers out: from files, from memory and as a service, with encoders kept open."""
