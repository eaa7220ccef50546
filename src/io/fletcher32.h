/* fletcher32.h - the checksum that HDF5's fletcher32 filter puts behind a chunk. Local. */
#ifndef NPR_IO_FLETCHER32_H
#define NPR_IO_FLETCHER32_H

#include <stddef.h>
#include <stdint.h>

/* Of n bytes, n even. */
uint32_t npr_fletcher32(const void *bytes, size_t n);

/* The same without instructions of this CPU only: for tests. */
uint32_t npr_fletcher32_portable(const void *bytes, size_t n);

#endif
