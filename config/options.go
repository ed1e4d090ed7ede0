package config

import (
	"fmt"
	"slices"
	"strings"
)

// nfsOptions are a root's options, sorted by who acts on them.
type nfsOptions struct {
	version string
	kept    []string
}

// parseOptions reads the list of options after a path. What is for the kernel is
// kept as it is; the rest is removed, because the kernel refuses a mount over one
// option that it does not know.
func parseOptions(list string) (o nfsOptions, notes []string, err error) {
	minor := ""
	for option := range strings.SplitSeq(list, ",") {
		if option == "" {
			continue
		}
		if !isGraphic(option) || strings.ContainsAny(option, `"'\`) {
			return o, nil, fmt.Errorf("NFS option %q has a character that no option can have", option)
		}
		key, value, _ := strings.Cut(option, "=")
		if strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_-.") != "" || key == "" {
			return o, nil, fmt.Errorf("%q is not an NFS option such as rsize=65536", option)
		}
		switch key {
		case "vers", "nfsvers":
			o.version, err = parseVersion(value)
		case "v2", "v3", "v4", "v4.0", "v4.1", "v4.2":
			o.version, err = parseVersion(key[1:])
		case "minorversion":
			minor = value
		case "addr", "clientaddr", "mountaddr":
			err = fmt.Errorf("NFS option %s is set by sidusboot itself; write the server before the path", key)
		case "sec":
			// Kerberos needs a keytab of the node's own and rpc.gssd.
			if value != "sys" && value != "none" {
				err = fmt.Errorf("NFS option sec=%s is not supported for the root: no program on the node can log in to Kerberos before the tree is mounted; export the tree with sec=sys, and let the tree mount what is secret", value)
			}
			o.kept = append(o.kept, option)
		case "xprtsec":
			// The handshake is done by tlshd, in user space.
			if value != "none" {
				err = fmt.Errorf("NFS option xprtsec=%s is not supported for the root: no program on the node can do the TLS handshake before the tree is mounted; leave it out, and protect the network", value)
			}
		case "remount", "bind", "rbind", "move":
			err = fmt.Errorf("NFS option %s is for another kind of mount; leave it out", key)
		case "nosuid", "nodev", "noexec":
			err = fmt.Errorf("NFS option %s would have no effect in the union over the tree; leave it out", key)
		case "rw":
			notes = append(notes, "NFS option rw dropped: the tree is always mounted read-only")
		case "ro":
		case "defaults", "auto", "noauto", "_netdev", "nofail", "user", "nouser", "users", "bg", "fg", "retry",
			"atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "suid", "dev", "exec":
			notes = append(notes, fmt.Sprintf("NFS option %s dropped: it has no meaning for a read-only root", option))
		default:
			o.kept = append(o.kept, option)
		}
		if err != nil {
			return nfsOptions{}, nil, err
		}
	}
	if minor != "" {
		if o.version != "" && o.version != "4" {
			return nfsOptions{}, nil, fmt.Errorf("vers=%s and minorversion=%s contradict each other", o.version, minor)
		}
		if o.version, err = parseVersion("4." + minor); err != nil {
			return nfsOptions{}, nil, err
		}
	}
	return o, notes, nil
}

// flags are options that stand alone, and those that have a value (nfs(5),
// fs/nfs/fs_context.c), for where they must be told from a part of a path.
var (
	optionFlags  = strings.Fields("ro rw soft softerr softreval nosoftreval hard intr nointr lock nolock tcp udp rdma v2 v3 v4 v4.0 v4.1 v4.2 ac noac acl noacl cto nocto fsc nofsc posix noposix sharecache nosharecache resvport noresvport rdirplus nordirplus migration nomigration trunkdiscovery notrunkdiscovery bg fg defaults atime noatime diratime nodiratime relatime norelatime suid nosuid dev nodev exec noexec sync async nconnect")
	optionValues = strings.Fields("vers nfsvers minorversion proto port mountproto mountport mountvers mountaddr mounthost rsize wsize bsize timeo retrans retry acregmin acregmax acdirmin acdirmax actimeo namlen sec nconnect max_connect lookupcache local_lock fsc addr clientaddr xprtsec context")
)

// areOptions tells whether each part of a list is an NFS option.
func areOptions(list string) bool {
	for option := range strings.SplitSeq(strings.ReplaceAll(list, ":", ","), ",") {
		key, _, valued := strings.Cut(option, "=")
		if valued && !slices.Contains(optionValues, key) || !valued && !slices.Contains(optionFlags, option) {
			return false
		}
	}
	return true
}

func parseVersion(v string) (string, error) {
	switch v {
	case "3", "4", "4.0", "4.1", "4.2":
		return v, nil
	}
	return "", fmt.Errorf("NFS version %q is not supported, only 3, 4, 4.0, 4.1 and 4.2", v)
}
