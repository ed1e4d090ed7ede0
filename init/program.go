package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// usualInits are tried in the kernel's own order when there is no init= word
// (init/main.c, kernel_init).
var usualInits = []string{"/sbin/init", "/etc/init", "/bin/init", "/bin/sh"}

// findInit returns the path, within root, of the program to hand over to.
func findInit(root, wanted string) (string, error) {
	candidates := usualInits
	if wanted != "" {
		candidates = []string{wanted}
	}
	for _, name := range candidates {
		resolved, err := resolve(root, name)
		if err == nil {
			err = executable(filepath.Join(root, resolved))
		}
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("init program %s: %w", name, err)
		}
	}
	if wanted != "" {
		return "", fmt.Errorf("the tree has no program %s: check init=: %w", wanted, fs.ErrNotExist)
	}
	return "", fmt.Errorf("the tree has none of %s: is this the root of a system? %w", strings.Join(candidates, ", "), fs.ErrNotExist)
}

func executable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("is no executable file: %w", unix.ENOEXEC)
	}
	return nil
}

// maxLinks is the kernel's own limit of symbolic links in one path
// (MAXSYMLINKS, linux/namei.h).
const maxLinks = 40

// resolve follows the symbolic links of name as they are meant inside root:
// the tree's absolute links must not lead into the initramfs.
func resolve(root, name string) (string, error) {
	done, rest := "/", strings.Split(name, "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		target, err := os.Readlink(filepath.Join(root, next))
		if errors.Is(err, unix.EINVAL) { // No link.
			done = next
			continue
		}
		if err != nil {
			return "", err
		}
		if links++; links > maxLinks {
			return "", fmt.Errorf("%s: %w", name, unix.ELOOP)
		}
		if path.IsAbs(target) {
			done = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return done, nil
}

// readInit reads the init program of the tree in root to its end. Its pages
// are needed in a moment anyway.
func readInit(root, wanted string) error {
	name, err := findInit(root, wanted)
	if err != nil {
		return err
	}
	resolved, err := resolve(root, name)
	if err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(root, resolved))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(io.Discard, f); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}
