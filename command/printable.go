package command

import "github.com/sidusboot/sidusboot/printable"

// Printable escapes what a terminal would obey, and line ends: files of a tree may
// have any names.
func Printable(text string) string { return printable.Text(text) }
