package exports

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// rootDir is [exports] rootdir of the files; "" where none has it. They are read as
// nfs-utils does that (support/nfs/conffile.c).
func rootDir(files []string) (string, error) {
	last := values{}
	for _, file := range files {
		v := values{}
		there, err := v.read(file, "", 0)
		if err != nil {
			return "", err
		}
		if there {
			last = values{}
		}
		names, err := filepath.Glob(file + ".d/*.conf")
		if err != nil {
			return "", err
		}
		slices.SortFunc(names, compareNumbers)
		for _, name := range names {
			if _, err := v.read(name, "", 0); err != nil {
				return "", err
			}
		}
		maps.Copy(last, v)
	}
	dir := last[key{"exports", "rootdir"}]
	if name, ok := strings.CutPrefix(dir, "$"); ok {
		if dir = last[key{"environment", strings.ToLower(name)}]; dir == "" {
			return "", fmt.Errorf("nfs.conf: [exports] rootdir=$%s: there is no such value in [environment], and the environment of mountd is not known: write the path there", name)
		}
	}
	if dir != "" && !path.IsAbs(dir) {
		return "", fmt.Errorf("nfs.conf: [exports] rootdir=%s is no absolute path: correct it, and restart the NFS server", dir)
	}
	return dir, nil
}

// A key is a section and a name in it, in lower case.
type key struct{ section, name string }

// values are the assignments of nfs.conf.
type values map[key]string

// maxIncludes is how deep files may include others.
const maxIncludes = 16

// read adds the assignments of a file that begins in a section. there tells whether it
// exists.
func (v values) read(file, section string, depth int) (there bool, err error) {
	if depth > maxIncludes {
		return false, fmt.Errorf("%s: files include each other more than %d deep: remove include= from one of them", file, maxIncludes)
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// A backslash at the end of a line continues it. A last line without an end is ignored.
	lines := strings.Split(strings.ReplaceAll(string(text), "\\\n", "  "), "\n")
	for _, line := range lines[:len(lines)-1] {
		line = strings.TrimLeft(line, " \t\r\v\f")
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		if line[0] == '[' {
			section = sectionOf(line)
			continue
		}
		name, value, ok := assignment(line)
		if !ok || section == "" {
			continue
		}
		if name != "include" {
			v[key{section, name}] = value
			continue
		}
		included := strings.TrimPrefix(value, "-")
		if !path.IsAbs(included) {
			included = filepath.Join(filepath.Dir(file), included)
		}
		if _, err := v.read(included, section, depth+1); err != nil {
			return true, err
		}
	}
	return true, nil
}

// sectionOf is the name in [name]. One with an argument, [name "argument"], is no section
// of which nfsd reads values, and "" is for lines that are ignored.
func sectionOf(line string) string {
	name, _, ok := strings.Cut(line[1:], "]")
	if !ok {
		return ""
	}
	return strings.ToLower(strings.Trim(name, " \t"))
}

// assignment is NAME = VALUE, the name in lower case. The value may be in quotes; without
// them it ends at a comment.
func assignment(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, "=")
	name = strings.ToLower(strings.TrimRight(name, " \t"))
	value = strings.TrimLeft(value, " \t")
	if !ok || name == "" {
		return "", "", false
	}
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		value, _, ok = strings.Cut(value[1:], value[:1])
		return name, value, ok
	}
	if end := strings.IndexAny(value, "#;"); end >= 0 {
		value = value[:end]
	}
	return name, strings.TrimRight(value, " \t\r\v\f"), true
}

// compareNumbers orders names as strverscmp(3) does, with numbers by their value.
func compareNumbers(a, b string) int {
	for a != "" && b != "" {
		na, nb := number(a), number(b)
		if na == "" || nb == "" || na[0] == '0' || nb[0] == '0' {
			if a[0] != b[0] {
				return int(a[0]) - int(b[0])
			}
			a, b = a[1:], b[1:]
			continue
		}
		if len(na) != len(nb) {
			return len(na) - len(nb)
		}
		if order := strings.Compare(na, nb); order != 0 {
			return order
		}
		a, b = a[len(na):], b[len(nb):]
	}
	return len(a) - len(b)
}

// number is the number at the beginning of a text.
func number(text string) string {
	return text[:len(text)-len(strings.TrimLeft(text, "0123456789"))]
}
