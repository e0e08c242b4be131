package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// On a disk that fills up a command ends with a message that says so, and the same
// command goes on to the same bytes once there is room.
func TestCommandsOnAFullDisk(t *testing.T) {
	for name, c := range resumable(t) {
		t.Run(name, func(t *testing.T) {
			whole := filepath.Join(t.TempDir(), "whole")
			must(t, c.in(whole)...)
			dir := t.TempDir()
			half := pages(t, whole) / 2
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", half*os.Getpagesize())); err != nil {
				t.Skipf("mounting a small file system needs rights: %v", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
			code, _, said := try("", c.in(dir)...)
			if code != exitError || !strings.Contains(said, dir) || !strings.Contains(said, "no space left on device") || strings.Contains(said, "goroutine ") {
				t.Errorf("on a disk of %d pages: exit code %d, %s", half, code, said)
			}
			if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
				t.Fatal(err)
			}
			must(t, c.in(dir)...)
			sameResults(t, "after a full disk", dir, whole)
		})
	}
}

// pages counts those that the files below a folder take.
func pages(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += (int(info.Size()) + os.Getpagesize() - 1) / os.Getpagesize()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
