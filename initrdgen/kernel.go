package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
)

// modulesDir is where a tree keeps the modules of its kernels.
const modulesDir = "lib/modules"

// chooseKernels gives the releases to pack: the only one in the tree, the one
// that was asked for, or all.
func chooseKernels(t *tree, want string) ([]string, error) {
	whole, links, err := findKernels(t, want)
	if err != nil {
		return nil, err
	}
	releases := []string{want}
	switch {
	case len(whole) == 0 && len(links) > 0:
		return nil, fmt.Errorf("%s has no kernel, only the link %s: if that is one, choose it with --kernel %s",
			t.path(modulesDir), links[0], links[0])
	case len(whole) == 0:
		return nil, fmt.Errorf("%s has no kernel: install a kernel package in the tree", t.path(modulesDir))
	case want == "" && len(whole) > 1:
		return nil, fmt.Errorf("%s has %d kernels: choose with --kernel one of %s, or all",
			t.path(modulesDir), len(whole), strings.Join(whole, ", "))
	case want == "" || want == "all":
		releases = whole
	case slices.Contains(links, want):
		if releases[0], err = releaseBehind(t, want); err != nil {
			return nil, err
		}
	case !slices.Contains(whole, want):
		return nil, fmt.Errorf("%s has no kernel %s: choose with --kernel one of %s, or all",
			t.path(modulesDir), want, strings.Join(whole, ", "))
	}
	for _, release := range releases {
		if err := checkName(release); err != nil {
			return nil, fmt.Errorf("%s: kernel release %q %w: rename the folder as uname -r has it", t.path(modulesDir), release, err)
		}
	}
	return releases, nil
}

// findKernels lists the releases in a tree. Links to folders are apart: they
// are second names, and count only where they are asked for.
func findKernels(t *tree, want string) (whole, links []string, err error) {
	noTree := fmt.Errorf("%s has no %s: is it a root tree with a kernel package installed?", t.dir, modulesDir)
	fi, err := t.stat(modulesDir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !fi.IsDir() {
		return nil, nil, noTree
	}
	if err != nil {
		return nil, nil, err
	}
	entries, err := t.readDir(modulesDir)
	if err != nil {
		return nil, nil, err
	}
	var broken []string
	for _, e := range entries {
		release := e.Name()
		dir := path.Join(modulesDir, release)
		if fi, err := t.stat(dir); err != nil || !fi.IsDir() {
			continue // A stray file, or a dead link.
		}
		fi, err := t.stat(path.Join(dir, "modules.dep"))
		switch {
		case errors.Is(err, fs.ErrPermission) && (want == "" || want == "all" || want == release):
			return nil, nil, fmt.Errorf("kernel %s: %w", release, err)
		case e.Type()&fs.ModeSymlink != 0:
			if err == nil {
				links = append(links, release)
			}
		case err == nil && fi.Mode().IsRegular():
			whole = append(whole, release)
		default:
			broken = append(broken, release)
		}
	}
	if slices.Contains(broken, want) {
		return nil, nil, noModulesDep(t, want)
	}
	if want == "" && len(whole) == 0 && len(broken) > 0 {
		return nil, nil, noModulesDep(t, broken[0])
	}
	if slices.Contains(links, want) {
		whole = append(whole, want)
	}
	return whole, links, nil
}

// releaseBehind gives the release that a link stands for: the name of the
// folder beside it that it leads to, or its own where it leads elsewhere.
func releaseBehind(t *tree, link string) (string, error) {
	real, err := t.resolve(path.Join(modulesDir, link))
	if err != nil {
		return "", err
	}
	dir, err := t.resolve(modulesDir)
	if err != nil {
		return "", err
	}
	if path.Dir(real) == dir {
		return path.Base(real), nil
	}
	return link, nil
}

func noModulesDep(t *tree, release string) error {
	return fmt.Errorf("%s is missing: run depmod -b %s %s, or remove what is left of that kernel",
		t.path(path.Join(modulesDir, release, "modules.dep")), t.dir, release)
}

// checkName refuses the name of a release or a module that a manifest, where
// blanks, commas and lines divide, could not hold.
func checkName(name string) error {
	for _, r := range name {
		if r == ',' || r == unicode.ReplacementChar || unicode.IsSpace(r) || !unicode.IsGraphic(r) {
			return errors.New("has a blank, a comma or a control character in it")
		}
	}
	return nil
}
