package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The sources of a root, for Origin.
const (
	originCmdline  = "command line"
	originOption17 = "DHCP option 17"
	originFile     = "/etc/sidusboot.conf"
	originBoot     = "sidus.server="
)

// readRoots fills in Root and FileRoot.
func (c *Config) readRoots(inFile, inLine map[int][]arg) (errs []error) {
	nfsroot, root, netroot := parameterIndex("nfsroot"), parameterIndex("root"), parameterIndex("netroot")
	type source struct {
		args   map[int][]arg
		to     *Root
		more   *[]Root
		origin string
	}
	for _, s := range []source{{inLine, &c.Root, &c.MoreRoots, originCmdline}, {inFile, &c.FileRoot, &c.MoreFileRoots, originFile}} {
		// A root= that is not an NFS root is a leftover of another boot loader entry
		// where nfsroot= is given, and a mistake otherwise.
		leftover := len(inFile[nfsroot])+len(inLine[nfsroot]) > 0
		r, notes, err := readRoot(s.args[root], s.args[netroot], s.args[nfsroot], leftover)
		c.Notes = append(c.Notes, notes...)
		if s.to == &c.Root && err == nil {
			r = fill(r, c.nfsOptions)
		}
		switch {
		case err == nil:
			*s.to = r
			if r.given() {
				s.to.Origin = s.origin
			}
			*s.more, err = c.moreRoots(s.args[nfsroot])
			if err != nil {
				errs = append(errs, err)
			}
		case s.to == &c.FileRoot && c.Root.Path != "":
			c.note("in %s: %v", originFile, err)
		default:
			errs = append(errs, err)
		}
	}
	return errs
}

// moreRoots reads the second nfsroot= and those after it.
func (c *Config) moreRoots(nfsroots []arg) (more []Root, err error) {
	for i, a := range nfsroots {
		if i == 0 {
			continue
		}
		r, notes, err := parseNFSRoot(a.value)
		if err != nil {
			return nil, parameters[parameterIndex("nfsroot")].errorFor(a, err)
		}
		c.Notes = append(c.Notes, notes...)
		more = append(more, r)
	}
	return more, nil
}

func (r Root) given() bool {
	return r.Server != "" || r.Path != "" || r.Version != "" || len(r.Options) > 0
}

// readRoot reads the last root= and the first nfsroot= of one source, and a
// netroot= where root= says nothing.
func readRoot(roots, netroots, nfsroots []arg, leftover bool) (r Root, notes []string, err error) {
	var byRoot, byNFSRoot Root
	var more []string
	if n := len(roots); n > 0 {
		a := roots[n-1]
		if byRoot, notes, err = parseRootParameter(a.value, leftover || len(netroots) > 0); err != nil {
			return Root{}, nil, parameters[parameterIndex("root")].errorFor(a, err)
		}
	}
	if n := len(netroots); n > 0 {
		byNetRoot, more, err := parseRootParameter(netroots[n-1].value, false)
		if err != nil {
			// The value is not shown: it may hold a password.
			more = []string{"netroot= is ignored: it is not an NFS root; a LUN for /rw is set by sidus.rw=iscsi and sidus.iscsi.target="}
		}
		notes = append(notes, more...)
		if !byRoot.given() {
			byRoot = byNetRoot
		}
	}
	if len(nfsroots) == 0 {
		return byRoot, notes, nil
	}
	a := nfsroots[0]
	if byNFSRoot, more, err = parseNFSRoot(a.value); err != nil {
		return Root{}, nil, parameters[parameterIndex("nfsroot")].errorFor(a, err)
	}
	notes = append(notes, more...)
	if !byRoot.given() {
		return byNFSRoot, notes, nil
	}
	if !byNFSRoot.given() {
		return byRoot, notes, nil
	}
	if byRoot.Server+byRoot.Path != "" && (byRoot.Server != byNFSRoot.Server || byRoot.Path != byNFSRoot.Path) {
		err := fmt.Errorf("root=%s names another tree; keep one of the two", roots[len(roots)-1].value)
		return Root{}, nil, parameters[parameterIndex("nfsroot")].errorFor(a, err)
	}
	return fill(byNFSRoot, byRoot), notes, nil
}

// parseRootParameter reads root=.
func parseRootParameter(v string, leftover bool) (Root, []string, error) {
	kind, rest, _ := strings.Cut(v, ":")
	switch {
	case v == "/dev/nfs" || v == "dhcp" || v == "dhcp6":
		return Root{}, nil, nil
	case v == "/dev/nfs4":
		return Root{Version: "4"}, nil, nil
	case kind == "nfs":
		return parseDracutRoot(rest, "")
	case kind == "nfs4":
		return parseDracutRoot(rest, "4")
	case isLegacyRoot(v):
		return parseDracutRoot(v, "")
	case leftover:
		return Root{}, []string{fmt.Sprintf("root=%q is ignored: the tree is set by nfsroot=", v)}, nil
	}
	return Root{}, nil, errors.New("sidusboot boots only NFS roots; set nfsroot=SERVER:/PATH")
}

// otherRoots are the first parts of roots that are none of NFS
// (dracut.cmdline(7), Linux's Documentation/admin-guide/kernel-parameters.txt).
var otherRoots = []string{"9p", "aoe", "block", "cifs", "fcoe", "http", "https", "ftp", "iscsi", "live", "liveimg", "mtd", "nbd",
	"nvmf", "smb", "ssh", "tftp", "ubi", "virtiofs", "zfs"}

// isLegacyRoot tells whether root= is dracut's [SERVER:]PATH[:OPTIONS] without
// nfs: in front. A path below /dev is a disk.
func isLegacyRoot(v string) bool {
	if strings.HasPrefix(v, "/") {
		return !strings.HasPrefix(v+"/", "/dev/")
	}
	server, rest, err := cutServer(v)
	return err == nil && server != "" && strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, "//") && !slices.Contains(otherRoots, server)
}

// fill sets the empty fields of r from a weaker source.
func fill(r, weaker Root) Root {
	if r.Server == "" {
		r.Server = weaker.Server
	}
	if r.Path == "" {
		r.Path = weaker.Path
	}
	if r.Version == "" {
		r.Version = weaker.Version
	}
	if len(r.Options) == 0 {
		r.Options = weaker.Options
	}
	return r
}

// ResolveRoot decides where the tree is: the command line wins over the lease,
// the lease over the file. Version and options are the command line's, else
// those of the source of the path, else the file's where it gives no path. The server is the first of:
// the command line's, the one in option 17, the file's where the path is the
// file's too, ip='s server field, lease.Boot's, siaddr, option 54, the file's.
// Templates in the path are expanded.
func ResolveRoot(cmdline Root, lease Lease, file Root) (Root, error) {
	option17, err := ParseRootPath(lease.RootPath)
	if err != nil {
		// A path on the command line does not need option 17.
		if cmdline.Path == "" {
			return Root{}, err
		}
		option17 = Root{}
	}

	// The result must not share slices with the arguments.
	r := fill(fill(cmdline, option17), file)
	pathFrom, given := originFile, file
	switch {
	case cmdline.Path != "":
		pathFrom, given = originCmdline, cmdline
	case option17.Path != "":
		pathFrom, given = originOption17, option17
	case file.Path == "":
		return Root{}, errors.New("no NFS root configured: set nfsroot=SERVER:/PATH on the kernel command line, " +
			"or DHCP option 17 (root-path), or nfsroot= in the image's /etc/sidusboot.conf")
	}

	// Options belong to the tree that they were given with, not to another one;
	// but the command line and the file may give options without a path.
	withoutPath := Root{}
	if file.Path == "" {
		withoutPath = file
	}
	r.Version, r.Options = "", nil
	for _, source := range []Root{cmdline, given, withoutPath} {
		if r.Version == "" {
			r.Version = source.Version
		}
		if len(r.Options) == 0 {
			r.Options = slices.Clone(source.Options)
		}
	}

	var serverFrom string
	if r.Server, serverFrom = chooseServer(cmdline, option17, file, pathFrom, lease); r.Server == "" {
		return Root{}, fmt.Errorf("no NFS server configured for %s: set nfsroot=SERVER:%s on the kernel command line, "+
			"or next-server or root-path by DHCP, or nfsroot= in the image's /etc/sidusboot.conf", r.Path, r.Path)
	}
	if err := checkServer(r.Server); err != nil {
		return Root{}, err
	}
	r.Origin = pathFrom
	if serverFrom != pathFrom {
		r.Origin = "path: " + pathFrom + ", server: " + serverFrom
	}

	if r.Path, err = expandPath(r.Path, lease); err != nil {
		return Root{}, fmt.Errorf("path of the tree: %w", err)
	}
	if r.Path, err = cleanPath(r.Path); err != nil {
		return Root{}, err
	}
	return r, nil
}

// ResolveRoots is ResolveRoot for a Config, with the further servers of the tree
// after the first: those of the same place as the path. What they do not have,
// path, version and options, is that of the first.
func (c *Config) ResolveRoots(lease Lease) ([]Root, error) {
	if host := c.BootServer.Host; host != "" {
		lease.Boot = func() (string, string) { return host, originBoot }
	}
	first, err := ResolveRoot(c.Root, lease, c.FileRoot)
	if err != nil {
		return nil, err
	}
	roots := []Root{first}
	more, base, file := c.MoreRoots, c.Root, c.FileRoot
	if strings.HasPrefix(strings.TrimPrefix(first.Origin, "path: "), originFile) {
		more, base, file = append(slices.Clone(more), c.MoreFileRoots...), fill(c.Root, c.FileRoot), Root{}
	}
	base.Server = ""
	for _, m := range more {
		r, err := ResolveRoot(fill(m, base), lease, file)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(roots, func(o Root) bool {
			return o.Server == r.Server && o.Path == r.Path && o.Version == r.Version && slices.Equal(o.Options, r.Options)
		}) {
			roots = append(roots, r)
		}
	}
	return roots, nil
}

func chooseServer(cmdline, option17, file Root, pathFrom string, lease Lease) (server, from string) {
	for _, s := range []struct {
		server, from string
	}{
		{cmdline.Server, originCmdline},
		{option17.Server, originOption17},
		// A DHCP server always sends option 54: without this it would take over
		// a tree that the file names in full.
		{serverOf(file, pathFrom), originFile},
		{addrText(lease.Server), "ip= server field"},
		{"", originBoot},
		{addrText(lease.NextServer), "DHCP next-server"},
		{addrText(lease.ServerID), "DHCP option 54"},
		{file.Server, originFile},
	} {
		if s.from == originBoot && lease.Boot != nil {
			s.server, s.from = lease.Boot() // It may have to ask the network.
		}
		if s.server != "" {
			return s.server, s.from
		}
	}
	return "", ""
}

// serverOf is the file's server where the path is the file's too.
func serverOf(file Root, pathFrom string) string {
	if pathFrom != originFile {
		return ""
	}
	return file.Server
}

// addrText is empty for an address that was not given.
func addrText(a netip.Addr) string {
	if !a.IsValid() || a.IsUnspecified() {
		return ""
	}
	return a.Unmap().String()
}
