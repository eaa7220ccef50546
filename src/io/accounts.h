/* accounts.h - the table of classes that lies in a pool's folder, classes.tsv: a header, then for each class
 * its number, its name and what became of the rows that matched it. npr-search begins it, npr-extract --join
 * goes on with it, npr-solve takes it over. Local. */
#ifndef NPR_IO_ACCOUNTS_H
#define NPR_IO_ACCOUNTS_H

#include <stdio.h>

#include "npr/status.h"

typedef struct npr_accounts {
    char *text;
    char *header; /* names of the columns behind class and name, with tabs between; "": there are none */
    int columns;
    int classes;         /* largest number + 1 */
    char **name, **line; /* [classes] the values as they stand in the table; NULL: no such class */
} npr_accounts;

/* No such file is an empty table. One that is no such table is NPR_EDATA. Free it on failure, too. */
npr_status npr_accounts_read(const char *folder, npr_accounts *a);
void npr_accounts_free(npr_accounts *a);

/* Forget the last column if it has this name. */
void npr_accounts_cut(npr_accounts *a, const char *name);

/* A tab and the names, or the values of a class (a dash for each if it has none); nothing for an empty table.
 */
void npr_accounts_print_header(const npr_accounts *a, FILE *f);
void npr_accounts_print(const npr_accounts *a, int class, FILE *f);

#endif
