from .case import main

main()
