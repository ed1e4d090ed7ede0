package treecheck

import (
	"os"
	"strconv"
	"strings"
)

// exports looks at how the tree is exported.
func (c *check) exports(table string) error {
	if table == "" {
		return nil
	}
	b, err := os.ReadFile(table)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var squashed, writable []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) > 0 {
			fields[0] = unescaped(fields[0])
		}
		if len(fields) < 2 || c.dir != fields[0] && !strings.HasPrefix(c.dir, strings.TrimSuffix(fields[0], "/")+"/") {
			continue
		}
		for _, client := range fields[1:] {
			host, options, _ := strings.Cut(strings.TrimSuffix(client, ")"), "(")
			if hasOption(options, "root_squash", "all_squash") {
				squashed = append(squashed, fields[0]+" for "+host)
			}
			if hasOption(options, "rw") {
				writable = append(writable, fields[0]+" for "+host)
			}
		}
	}
	c.add(Finding{Name: "root-squash", Severity: Warning, Problem: "root on a node is the user nobody on the server: files that only root may read cannot be read, and services and sudo fail",
		Remedy: "export with no_root_squash (and ro), then exportfs -ra"}, squashed...)
	c.add(Finding{Name: "writable-export", Severity: Warning, Problem: "nodes may write to the export: one node can damage the tree for all",
		Remedy: "export with ro, then exportfs -ra"}, writable...)
	return nil
}

// unescaped is a path of the table: blanks and the like are three octal digits
// there (nfs-utils, support/nfs/xio.c).
func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
