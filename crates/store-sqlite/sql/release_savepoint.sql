RELEASE one_write
