package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/sidusboot/sidusboot/hostname"
)

// parseNFSRoot reads the kernel's [SERVER:]PATH[,OPTIONS], and the same with a
// colon before the options, as initramfs-tools and dracut have it. "auto" and an
// empty path leave it to DHCP.
func parseNFSRoot(v string) (Root, []string, error) {
	if v == "auto" {
		return Root{}, nil, nil
	}
	if i := strings.Index(v, "://"); i > 0 && v[0] > '9' && isIdentifier(canonical(v[:i])) {
		return Root{}, nil, fmt.Errorf("%s:// roots are not supported: sidusboot boots only NFS roots, written SERVER:/PATH", v[:i])
	}
	location, options, _ := strings.Cut(v, ",")
	return newRoot(location, options, "")
}

// parseDracutRoot reads dracut's [SERVER:]PATH[:OPTIONS], where a comma before
// the options does as well, Anaconda's OPTIONS:SERVER:PATH, and
// nfs://SERVER[:PORT]/PATH without its scheme.
func parseDracutRoot(v, version string) (Root, []string, error) {
	if rest, ok := strings.CutPrefix(v, "//"); ok {
		return parseNFSURL(rest, version)
	}
	options := ""
	if before, rest, _ := strings.Cut(v, ":"); areOptions(before) && strings.Contains(rest, ":/") {
		options, v = before, rest
	}
	server, rest, err := cutServer(v)
	if err != nil {
		return Root{}, nil, err
	}
	if i := strings.IndexAny(rest, ":,"); i >= 0 {
		rest, options = rest[:i], join(options, rest[i+1:])
	}
	return makeRoot(server, rest, options, version)
}

func parseNFSURL(v, version string) (Root, []string, error) {
	location, options, _ := strings.Cut(v, ",")
	slash := strings.IndexByte(location, '/')
	if slash <= 0 || strings.ContainsAny(location, "?#@") {
		return Root{}, nil, errors.New("an NFS URL is written nfs://SERVER[:PORT]/PATH[,OPTIONS]")
	}
	server, dir := location[:slash], location[slash:]
	server = strings.TrimSuffix(server, ":") // Anaconda's nfs://SERVER:/PATH.
	if i := strings.LastIndexByte(server, ':'); i > strings.LastIndexByte(server, ']') {
		if n, err := strconv.ParseUint(server[i+1:], 10, 16); err != nil || n == 0 {
			return Root{}, nil, fmt.Errorf("%q is not a port", server[i+1:])
		}
		options = "port=" + server[i+1:] + "," + options
		server = server[:i]
	}
	server, _, err := cutServer(server + ":")
	if err != nil {
		return Root{}, nil, err
	}
	return makeRoot(server, dir, options, version)
}

// newRoot is for [SERVER:]PATH, where options may follow a colon: but a path can
// have a colon too, so that only what is an NFS option ends it.
func newRoot(location, options, version string) (Root, []string, error) {
	server, dir, err := cutServer(location)
	if err != nil {
		return Root{}, nil, err
	}
	for i := range len(dir) {
		if rest := dir[i:]; rest == ":" || rest[0] == ':' && areOptions(rest[1:]) {
			dir, options = dir[:i], join(rest[1:], options)
			break
		}
	}
	return makeRoot(server, dir, options, version)
}

// join puts two lists of options together.
func join(a, b string) string {
	return strings.Trim(strings.Trim(a, ":")+","+strings.Trim(b, ":"), ",")
}

// cutServer takes the server off the front. A path begins with a slash, so a
// value that begins with one names no server and may hold colons.
func cutServer(v string) (server, rest string, err error) {
	switch {
	case v == "" || v[0] == '/':
		return "", v, nil
	case v[0] == '[':
		end := strings.Index(v, "]:")
		if end < 0 {
			return "", "", errors.New("an IPv6 server is written [ADDRESS]:PATH")
		}
		server, rest = v[1:end], v[end+2:]
		if addr, err := netip.ParseAddr(server); err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", "", fmt.Errorf("server %q is not an IPv6 address", server)
		}
		return server, rest, nil
	}
	server, rest, found := strings.Cut(v, ":")
	switch {
	case !found:
		return "", "", errors.New("the path does not begin with /")
	case server == "":
		return "", rest, nil
	case strings.HasPrefix(rest, ":") || rest != "" && rest[0] != '/' && strings.Contains(rest, ":/"):
		return "", "", errors.New("an IPv6 server is written in brackets, [ADDRESS]:PATH")
	}
	return server, rest, checkServer(server)
}

// checkServer keeps everything out of the mount source, and of messages, that is
// not the name or address of a server.
func checkServer(server string) error {
	if _, err := netip.ParseAddr(server); err == nil {
		return nil
	}
	if server != "" && strings.Trim(server, "0123456789.") == "" {
		return fmt.Errorf("server %q is not an IPv4 address", server)
	}
	if !hostname.Valid(server) {
		return fmt.Errorf("server %q is not a host name: letters, digits, dots, hyphens and underscores", server)
	}
	return nil
}

func makeRoot(server, dir, options, version string) (Root, []string, error) {
	dir, err := cleanPath(dir)
	if err != nil {
		return Root{}, nil, err
	}
	if err := checkTemplate(dir, true); err != nil {
		return Root{}, nil, fmt.Errorf("path %q: %w", dir, err)
	}
	r := Root{Server: server, Path: dir}
	o, notes, err := parseOptions(options)
	if err != nil {
		return Root{}, nil, err
	}
	r.Version, r.Options = version, o.kept
	if o.version != "" {
		if version != "" && !strings.HasPrefix(o.version, version) {
			return Root{}, nil, fmt.Errorf("nfs%s: and vers=%s contradict each other", version, o.version)
		}
		r.Version = o.version
	}
	return r, notes, nil
}

// cleanPath removes double and last slashes. It refuses "..", which means another
// directory after a symbolic link.
func cleanPath(dir string) (string, error) {
	switch {
	case dir == "":
		return "", nil
	case dir[0] != '/':
		return "", fmt.Errorf("path %q does not begin with /", dir)
	case len(dir) > 1024:
		return "", errors.New("the path is longer than NFS allows, 1024 bytes")
	case strings.IndexFunc(dir, isControl) >= 0:
		return "", fmt.Errorf("path %q has a control character", dir)
	case strings.Contains(dir, ","):
		return "", fmt.Errorf("path %q has a comma, where options would begin", dir)
	case slices.Contains(strings.Split(dir, "/"), ".."):
		return "", fmt.Errorf("path %q has ..: write the path without it", dir)
	}
	return path.Clean(dir), nil
}

func isControl(r rune) bool {
	return r < ' ' || r >= 0x7f && r < 0xa0
}

// ParseRootPath reads DHCP option 17: SERVER:PATH[,OPTIONS], PATH,
// nfs[4]:[SERVER:]PATH[:OPTIONS] or nfs://SERVER/PATH. Servers end it with
// NULs and people with blanks; an empty one is an empty Root.
func ParseRootPath(option17 string) (Root, error) {
	v := strings.Trim(option17, "\x00 \t\r\n")
	if strings.IndexFunc(v, isControl) >= 0 {
		return Root{}, fmt.Errorf("DHCP option 17 %q has a control character", v)
	}
	var r Root
	var err error
	switch scheme, rest, _ := strings.Cut(v, ":"); scheme {
	case "nfs":
		r, _, err = parseDracutRoot(rest, "")
	case "nfs4":
		r, _, err = parseDracutRoot(rest, "4")
	case "iscsi":
		err = errors.New("it names an iSCSI disk, but the root must be NFS: write SERVER:/PATH there, or nfsroot=SERVER:/PATH on the command line")
	default:
		r, _, err = parseNFSRoot(v)
	}
	if err != nil {
		return Root{}, fmt.Errorf("DHCP option 17 %q: %w", v, err)
	}
	if r.Path != "" || r.Server != "" || len(r.Options) > 0 || r.Version != "" {
		r.Origin = originOption17
	}
	return r, nil
}
