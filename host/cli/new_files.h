/* cli/new_files.h - what `weir new` writes. Constants. */
#ifndef WEIR_CLI_NEW_FILES_H
#define WEIR_CLI_NEW_FILES_H

struct weir_new_file {
    const char *path; /* NULL: the last one. In both, NAME stands for the name that was given */
    const char *text;
};

extern const struct weir_new_file weir_new_app_files[], weir_new_stage_files[];

#endif
