package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// modprobeDirs are searched for *.conf; a file in an earlier one replaces the
// file of that name in the later ones. /run/modprobe.d is left out: a tree at
// rest has nothing in /run.
var modprobeDirs = []string{"etc/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"}

// A modprobeConf is what a tree's modprobe.d says and an initrd can heed.
type modprobeConf struct {
	params map[string]string
	// blacklist has the file that forbids a module.
	blacklist map[string]string
	softdeps  string // And weakdeps.
	// problems are about files and lines that were skipped.
	problems []string
}

func readModprobeConf(t *tree) (modprobeConf, error) {
	conf := modprobeConf{params: make(map[string]string), blacklist: make(map[string]string)}
	files := make(map[string]string)
	for _, dir := range modprobeDirs {
		entries, err := t.readDir(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission):
			return modprobeConf{}, err
		case err != nil:
			conf.skip(err)
			continue
		}
		for _, e := range entries {
			base := e.Name()
			if _, masked := files[base]; !masked && strings.HasSuffix(base, ".conf") {
				files[base] = path.Join(dir, base)
			}
		}
	}
	var names []string
	for base := range files {
		names = append(names, base)
	}
	slices.Sort(names)

	for _, base := range names {
		real, err := t.resolve(files[base])
		if errors.Is(err, fs.ErrNotExist) || real == "/dev/null" {
			continue // A file masked with a link to /dev/null, or a dead link.
		}
		text, err := t.readFile(files[base])
		switch {
		case errors.Is(err, fs.ErrPermission):
			return modprobeConf{}, err // It would be another image for another user.
		case err != nil:
			conf.skip(err)
		default:
			conf.parse(t.path(files[base]), string(text))
		}
	}
	return conf, nil
}

// skip notes a file that modprobe could not read either.
func (c *modprobeConf) skip(err error) {
	c.problems = append(c.problems, fmt.Sprintf("%v: skipped, as modprobe does", err))
}

// parse reads the text of one file. Words that need a shell, install and
// remove, are left alone, but for the usual way to forbid a module.
func (c *modprobeConf) parse(file, text string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 || strings.HasPrefix(words[0], "#") {
			continue
		}
		name := image.CanonicalName(words[1])
		switch words[0] {
		case "options":
			params := strings.Join(words[2:], " ")
			if err := image.CheckParams(params); err != nil {
				c.problems = append(c.problems, fmt.Sprintf("%s: the options of %s are skipped: %q %v", file, name, params, err))
			} else if params != "" {
				c.params[name] = strings.TrimSpace(c.params[name] + " " + params)
			}
		case "blacklist":
			c.blacklist[name] = file
		case "install":
			if len(words) == 3 && (path.Base(words[2]) == "true" || path.Base(words[2]) == "false") {
				c.blacklist[name] = file
			}
		case "softdep", "weakdep":
			c.softdeps += strings.Join(words, " ") + "\n"
		}
	}
}
